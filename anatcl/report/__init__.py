"""From scores, measures, pictures and records to tables and one page.

Nothing here computes a score: the report only arranges what the stages before it wrote, and says where each number
comes from. Same inputs, same bytes.
"""
