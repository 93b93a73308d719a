#!/bin/bash
# Train on a Cloud TPU slice by queued resources.
#
#   launch/tpu.sh create            asks for the slice; `launch/tpu.sh state` until ACTIVE
#   launch/tpu.sh setup             copies this folder to every host and installs it,
#                                   with a Python of its own, by uv
#   launch/tpu.sh train configs/kaggle.py gs://BUCKET/kaggle \
#       --config.data.records_dir=gs://BUCKET/records    the same command on every host
#   launch/tpu.sh delete
#
# The variables below say what is asked for, such as
#   ZONE=us-west4-a TYPE=v5litepod-16 RUNTIME=v2-alpha-tpuv5-lite launch/tpu.sh create
#
# The second word is the run's folder, which all hosts must see: gs://BUCKET/FOLDER, or a
# mounted disk. The records are prepared once, on any machine that has the raw files:
#   python main.py --config=configs/kaggle.py --mode=audit --config.data.manual_dir=FOLDER \
#       --config.data.records_dir=gs://BUCKET/records
# Hosts find each other. A host that is lost costs the steps since the last evaluation: the others end
# within a minute, and `train` goes on from there. Spot slices (SPOT=1) get SIGTERM 30 s
# before they are taken away and save first; a new one must be created then.
#
# None of this has been run on a TPU yet.

set -eu
NAME=${NAME:-nerve-jax}
ZONE=${ZONE:-us-west4-a}
TYPE=${TYPE:-v5litepod-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}

usage="usage: launch/tpu.sh create|state|setup|train CONFIG WORKDIR [FLAGS]|delete"

on_all_hosts() {
    gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all --command="$1"
}

case "${1:-}" in
create)
    gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" \
        --zone="$ZONE" --accelerator-type="$TYPE" --runtime-version="$RUNTIME" \
        ${SPOT:+--spot}
    ;;
state)
    gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" \
        --format="value(state.state)"
    ;;
setup)
    git archive --format=tar.gz --output=/tmp/nerve_jax.tar.gz HEAD
    gcloud compute tpus tpu-vm scp /tmp/nerve_jax.tar.gz "$NAME":nerve_jax.tar.gz \
        --zone="$ZONE" --worker=all
    on_all_hosts "mkdir -p nerve_jax && tar xzf nerve_jax.tar.gz -C nerve_jax &&
        cd nerve_jax && python3 -m pip install -q --user uv &&
        python3 -m uv venv -q --python 3.12 .venv &&
        python3 -m uv pip install -q -e '.[tpu]'"
    ;;
train)
    config=${2:?$usage}
    workdir=${3:?$usage}
    shift 3
    words=$(printf ' %q' --config="$config" --workdir="$workdir" "$@")
    on_all_hosts "cd nerve_jax && .venv/bin/python main.py$words"
    ;;
delete)
    gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force
    ;;
*)
    echo "$usage" >&2
    exit 2
    ;;
esac
