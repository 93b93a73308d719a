#!/bin/bash
# Train under Slurm.
#
#   sbatch --array=0-4 launch/slurm.sh configs/kaggle.py runs/kaggle \
#       --config.data.manual_dir=FOLDER
#       one job array element a fold, each on one GPU, all in one run's folder
#   sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 launch/slurm.sh \
#       configs/kaggle.py runs/kaggle --config.data.manual_dir=FOLDER
#       one job of 16 processes, a GPU each, that share out every batch
#
# Further words go to main.py. The folder of the run must be on a disk that all nodes see,
# and so should the records (--config.data.records_dir=FOLDER), which are then prepared once.
#
# Two minutes before its time is over, and when it is pre-empted, a job gets SIGTERM: it
# saves, ends with 143, is queued again and goes on from there. A node that is lost costs
# the steps since the last evaluation (eval_every_steps); the other processes of the job
# end within a minute.
#
# Its syntax and what it calls are tested, but it has not been run on a cluster yet.

#SBATCH --job-name=nerve_jax
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=08:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.log

set -u
config=${1:?usage: sbatch launch/slurm.sh CONFIG WORKDIR [FLAGS]}
workdir=${2:?usage: sbatch launch/slurm.sh CONFIG WORKDIR [FLAGS]}
shift 2

folds=()
job=$SLURM_JOB_ID
if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
    folds=("--config.folds=($SLURM_ARRAY_TASK_ID,)")
    job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
fi

srun .venv/bin/python main.py --config="$config" --workdir="$workdir" \
    ${folds[@]+"${folds[@]}"} "$@"
code=$?
if [ $code -eq 143 ]; then
    scontrol requeue "$job"
fi
exit $code
