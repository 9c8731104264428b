"""Many photographs and videos in one run, which can be killed and goes on where it was.

sources → tasks │ align │ part file → formats
            one thread  │ workers  │ one thread

By shards, in many processes: plan → shards → aligner → nested rows → a part and its mark.
"""
