curl -X POST "$ADDRESS/inferences/" \
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
  -d '{"inferences": [{"id": "5f2c", "time": "2026-11-27T10:00:00Z", "input": "where is my card",
       "prediction": "card_arrival", "latency_ms": 3.2}]}'
curl -X POST "$ADDRESS/labels/" \
  -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \
  -d '{"labels": [{"id": "5f2c", "label": "card_arrival"}]}'
