"""Models on the machines of a Ray cluster, as deployments of Ray Serve.

`host` is the model as the server sees it, `deployment` what it asks of Ray, `cluster` and `routing` the only modules that
import Ray, `scaling` the arithmetic of how many replicas there are. What runs on the other machines is `lithophone.replica`.
"""
