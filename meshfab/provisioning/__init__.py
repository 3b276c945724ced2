"""One host brought to what is asked, step by step: mint, renew-enable, wire-nginx, verify."""
