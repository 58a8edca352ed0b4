"""What is answered at which address: pages, the API, OpenAI's API, experiments, the rewriter.

Here: HTTP in, HTTP out. Not here: work, which is in jobs and history.
"""
