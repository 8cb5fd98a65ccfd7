"""Explanations of runs by Gemini; `explainer.Explainer` is the entry point.

    snapshot       read the script and the workload from a run's archive
    source         remove comments and texts from the script's source
    prompt         make the prompt: `instructions` and redacted data about the run
    gemini_worker  the helper process, which sends one request through either SDK
    number_check   check the numbers of a sentence against the data that was sent
    answer         check and shorten the answer
    merge          combine the rules' verdict and the explanation
    quota          the daily budget, and pauses after failures
    explainer      all of these steps in order, within a time limit

This module imports nothing, so that the helper process starts fast. The daemon imports no SDK.
"""
