# CPU image of crystalssl for a user without rights, on a file system that may be read-only:
#   docker build -t crystalssl .
#   docker run --rm --read-only --tmpfs /tmp --network none -v "$PWD:/work" -u "$(id -u)" \
#       crystalssl extract my_cifs/ -o features.parquet
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
RUN python -m venv /opt/crystalssl \
 && /opt/crystalssl/bin/pip install --no-cache-dir torch==2.13.0 \
        --index-url https://download.pytorch.org/whl/cpu \
 && /opt/crystalssl/bin/pip install --no-cache-dir -c constraints.txt '.[train,report,fit]'

FROM python:3.11-slim
# LightGBM's OpenMP runtime
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 crystalssl
COPY --from=build /opt/crystalssl /opt/crystalssl
# what programs like to keep goes to /tmp, which a read-only container gets as tmpfs; a volume at
# /tmp/numba saves later containers the half minute in which loops are compiled
ENV PATH=/opt/crystalssl/bin:$PATH \
    HOME=/tmp \
    NUMBA_CACHE_DIR=/tmp/numba \
    MPLCONFIGDIR=/tmp/matplotlib \
    HF_HOME=/tmp/huggingface \
    CRYSTALSSL_CACHE=/tmp/crystalssl \
    PYTHONDONTWRITEBYTECODE=1
USER crystalssl
WORKDIR /work
ENTRYPOINT ["crystalssl"]
CMD ["--help"]
