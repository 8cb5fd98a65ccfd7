"""Findings explained by Gemini: `explain.Explainer` is the way in.

    redact     secrets out of whatever is sent: values that are known,
    shapes     what is a secret by its shape,
    named      what is a secret by the name beside it
    prompt     a run → instructions and data; `instructions` never change,
    snapshot   what the archive of a run says: source, workload
    gemini     the helper process: one request, by either SDK
    verify     whether the numbers of a sentence were among those that were sent
    answer     text → a checked and bounded explanation
    merge      the rules' verdict + an explanation → the verdict
    allowance  the budget of a day and the circuit
    explain    all of it in order, within a limit of time

Nothing is imported here: the helper process starts faster, and the daemon imports no SDK at all.
"""
