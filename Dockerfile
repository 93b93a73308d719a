# The command nerve-jax with what it needs, for CPUs; EXTRA names one of the extras of
# pyproject.toml, for NVIDIA GPUs or TPUs:
#
#   docker build -t nerve_jax .
#   docker build -t nerve_jax:cuda --build-arg EXTRA=cuda .
#
# Runs are written below the folder that is mounted at /work, by the user that is named:
#
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" nerve_jax --config=unet
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD:/work" nerve_jax:cuda \
#       --config=kaggle --config.data.manual_dir=FOLDER
#
# Prepared records and compiled programs lie in the container's home, /home/nerve, and go
# with the container: --config.data.records_dir=records keeps the records in /work.

FROM python:3.12-slim AS build
RUN python -m venv /opt/nerve_jax
ENV PATH=/opt/nerve_jax/bin:$PATH
WORKDIR /source
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
COPY pyproject.toml README.md main.py ./
COPY configs configs
COPY nerve_jax nerve_jax
ARG EXTRA=""
RUN pip install --no-cache-dir "/source${EXTRA:+[$EXTRA]}"

FROM python:3.12-slim
COPY --from=build /opt/nerve_jax /opt/nerve_jax
# Any user may be named, so any may write to this home; the default one is not root.
RUN useradd --create-home --uid 1000 nerve && \
    chmod 1777 /home/nerve && \
    install --directory --owner=nerve /work
ENV PATH=/opt/nerve_jax/bin:$PATH HOME=/home/nerve
USER 1000
WORKDIR /work
ENTRYPOINT ["nerve-jax"]
