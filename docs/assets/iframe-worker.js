// Search without a server: browsers start no Worker for a page that is opened as a file, so its script runs in a hidden
// frame. The theme looks for the name IFrameWorker.
(() => {
  if (location.protocol !== "file:") return;

  // What a worker has and a window lacks; runs in the frame before the script.
  const inside = `
    self.postMessage = (data) => frameElement.answer(data);
    self.importScripts = (...urls) => urls.reduce((before, url) => before.then(() => new Promise((done) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = done;
      document.body.append(script);
    })), Promise.resolve());`;
  const tag = (text, attributes = "") => `<script${attributes}>${text}</` + "script>";

  class IFrameWorker extends EventTarget {
    constructor(url) {
      super();
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      this.frame.answer = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.started = new Promise((done) => {
        this.frame.started = done;
      });
      document.body.append(this.frame);
      const page = this.frame.contentDocument;
      page.open();
      page.write(`<body>${tag(inside)}${tag("", ` src="${url}"`)}${tag("frameElement.started()")}`);
      page.close();
    }

    postMessage(data) {
      const event = new MessageEvent("message", { data });
      this.started.then(() => this.frame.contentWindow.dispatchEvent(event));
    }

    terminate() {
      this.frame.remove();
    }
  }

  self.IFrameWorker = IFrameWorker;
  self.Worker = IFrameWorker;
})();
