#!/bin/sh
# The official image is started with the name of a role, or with NODE_ROLE in the environment.
case ${1:-${NODE_ROLE:-}} in
  namesrv | nameserver) [ $# -eq 0 ] || shift; exec mqnamesrv "$@" ;;
  broker) [ $# -eq 0 ] || shift; exec mqbroker "$@" ;;
  '') exec apogee up ;;
  *) exec "$@" ;;
esac
