"""What every stage shares: files, errors, provenance, configuration.

Only the standard library, numpy, pandas and PyYAML are needed to import what the GPU stages use; pydantic is imported
by :mod:`anatcl.spec.config` alone.
"""

from anatcl.mixed import refuse_mixed

refuse_mixed()
