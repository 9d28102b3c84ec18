#!/bin/sh
echo "{{ $x }}"
