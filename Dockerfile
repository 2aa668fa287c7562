# docker build --target cpu -t topodistill .      docker build --target cuda -t topodistill:cuda .
# docker run --rm -v "$PWD/runs:/work/runs" topodistill run --dataset waymo --simulate --preset best

FROM python:3.11-slim AS cpu
WORKDIR /work
COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY fast /src/fast
COPY reference /src/reference
COPY topodistill /src/topodistill
COPY train /src/train
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
        -c /src/constraints.txt '/src[train,onnx,las,cameras]' \
    && topodistill warm-up
ENTRYPOINT ["topodistill"]

# torch from the package index is built for CUDA and brings its libraries; the host has the driver.
FROM python:3.11-slim AS cuda
WORKDIR /work
COPY pyproject.toml constraints.txt README.md LICENSE /src/
COPY fast /src/fast
COPY reference /src/reference
COPY topodistill /src/topodistill
COPY train /src/train
RUN pip install --no-cache-dir -c /src/constraints.txt '/src[train,onnx,las,cameras,gpu]'
ENTRYPOINT ["topodistill"]
