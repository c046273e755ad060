"""What is told of the gateway at work: numbers and traces. It knows nothing of runs."""
