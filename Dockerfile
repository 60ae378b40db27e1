# Two finished images from one file: `cpu` (default) and `gpu`. Nobody is root at run time.
FROM python:3.11-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONPATH=/app:/app/platform SWITCHYARD_HOME=/data OMP_NUM_THREADS=1
WORKDIR /app
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin switchyard \
    && install -d -o switchyard -g switchyard /data
COPY requirements.lock requirements-gpu.lock ./
RUN pip install --no-deps --require-hashes -r requirements.lock

FROM base AS cpu
ARG TORCH_ARGS="--index-url https://download.pytorch.org/whl/cpu"
RUN pip install ${TORCH_ARGS} 'torch>=2.11,<2.14'
COPY --chown=root:root . .
USER switchyard
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
    CMD ["python", "deploy/healthcheck.py", "http://127.0.0.1:8000/readyz"]
CMD ["uvicorn", "switchyard.asgi:application", "--host", "0.0.0.0", "--port", "8000", "--loop", "uvloop", "--http", "httptools", "--timeout-graceful-shutdown", "10", "--no-access-log"]

FROM base AS gpu
# onnxruntime and onnxruntime-gpu never together: the first is removed before the second comes.
RUN pip uninstall --yes onnxruntime && pip install --no-deps --require-hashes -r requirements-gpu.lock
ARG TORCH_ARGS=""
RUN pip install ${TORCH_ARGS} 'torch>=2.11,<2.14'
COPY --chown=root:root . .
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER switchyard
VOLUME /data
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=4 \
    CMD ["celery", "-A", "switchyard", "inspect", "ping", "--timeout", "10"]
CMD ["celery", "-A", "switchyard", "worker", "-Q", "training", "-n", "trainer@%h", "--pool", "solo", "--loglevel", "INFO"]
