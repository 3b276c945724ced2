"""What goes wrong on a mesh, on purpose: dead hosts, cut links, full disks, delays, a slow CA."""
