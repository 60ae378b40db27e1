"""A lean HTTP/1.1 client for upstreams: one protocol object a connection, no middle layers.

`client.LeanUpstream` has the interface of `openai_http.Upstream`. `connection` reads answers, `pool` keeps connections,
`words` writes requests. No redirects, no proxies, no cookies: whoever needs a proxy takes the other client.
"""
