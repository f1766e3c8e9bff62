# One image for every process: `distillhub web`, `worker`, `beat` and `migrate` choose what it does.
#
#   docker build -t distillhub .                                     CPU
#   docker build -t distillhub:gpu --build-arg TORCH_INDEX= .        CUDA, from PyPI's own wheels

FROM python:3.12-slim AS build
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /srv/distillhub
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY distillhub distillhub
COPY projects projects
COPY training training
RUN pip install ${TORCH_INDEX:+--extra-index-url ${TORCH_INDEX}} \
    --constraint constraints.txt --editable '.[s3]'
COPY manage.py ./
COPY templates templates
COPY static static
RUN distillhub collect-static --home /tmp/home

FROM python:3.12-slim
# pg_dump and pg_restore, for `distillhub backup` and `restore`
RUN apt-get update && apt-get install --yes --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 10001 distillhub \
    && install -d -o distillhub -g distillhub /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/distillhub /srv/distillhub
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DISTILLHUB_HOME=/data
WORKDIR /srv/distillhub
USER distillhub
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
CMD ["distillhub", "web", "--host", "0.0.0.0", "--port", "8000"]
