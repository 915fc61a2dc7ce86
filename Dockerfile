# One image for every service; the command chooses which. Locked by hash, without the development tools, not run as root.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/habitus
COPY deploy/requirements-runtime.lock ./
RUN /opt/habitus/bin/pip install --no-cache-dir --require-hashes --requirement requirements-runtime.lock
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY runtime runtime
COPY feature_repo feature_repo
COPY streams streams
COPY trainer trainer
COPY predictor predictor
COPY monitor monitor
COPY habitus habitus
# hatchling and editables come with the lock, so nothing is resolved here.
RUN /opt/habitus/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim-bookworm
# LightGBM's OpenMP runtime.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /var/lib/habitus --create-home habitus
COPY --from=build /opt/habitus /opt/habitus
ENV PATH=/opt/habitus/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HABITUS_HOME=/var/lib/habitus \
    HABITUS_LOG_FORMAT=json \
    DO_NOT_TRACK=true
USER habitus
VOLUME /var/lib/habitus
WORKDIR /var/lib/habitus
EXPOSE 50051
CMD ["habitus", "--help"]
