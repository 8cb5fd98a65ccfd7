"""One job, from start to finish: the queue, the schedule, the pipeline."""
