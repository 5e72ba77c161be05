"""Plan, run and keep: from a request to judged models, nothing done twice."""
