"""step-ca as a client on the operator's machine sees it: its provisioners, their keys, and signing requests."""
