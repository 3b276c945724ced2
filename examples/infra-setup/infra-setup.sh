#!/bin/sh
# The services of the mesh, one line each. Run it as often as you like: a second run changes nothing.
set -eu

on_h2() { meshfab provision --host h2 "$@"; }

on_h2 --name wiki --upstream http://127.0.0.1:8080
on_h2 --name git --upstream http://127.0.0.1:3000 --san code.internal
on_h2 --name tea
meshfab check-certs --host h2
