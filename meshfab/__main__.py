"""`python -m meshfab`: the same as `meshfab`."""

from meshfab.program import main

main()
