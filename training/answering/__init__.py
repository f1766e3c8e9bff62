"""Teachers that answer through an API: who is asked, how, what it costs, and what was said.

    asker = Asker(version, Choice(labels), purpose="dataset version 12", budget=Decimal(5))
    for answer in asker.answers(Prompt(row_id, text) for row_id, text in rows):
        ...

One way in (asker.py); docs/teachers.md tells what it promises. Below: questions.py (what is asked,
and how a reply is read), label_probabilities.py, requests (openai_requests.py, ...) and the clients
that send them (openai_api.py, bedrock.py), pacing.py, budget.py, endpoint.py (what a source says).
"""
