# docker build -t anatcl-workflow . && docker run --rm --user "$(id -u)" -v /data:/data:ro -v "$PWD":/out anatcl-workflow /data /out participant
# An image with the CUDA build of PyTorch: docker build --build-arg TORCH=cuda -t anatcl-workflow:cuda .
FROM python:3.12-slim-bookworm
ARG TORCH=cpu
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/anatcl-workflow
COPY . .
RUN make install-image TORCH="$TORCH"
ENV PATH=/opt/anatcl-workflow/.venv/bin:$PATH OMP_NUM_THREADS=1 HOME=/tmp USER=anatcl LOGNAME=anatcl
WORKDIR /out
ENTRYPOINT ["python", "-m", "anatcl", "run"]
