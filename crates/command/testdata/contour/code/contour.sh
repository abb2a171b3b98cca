#!/bin/sh
# Contour lines: -i INTERVAL -w FOLDER -e RUN
set -e
while getopts i:w:e: option; do
    case $option in
    i) interval=$OPTARG ;;
    w) folder=$OPTARG ;;
    e) run=$OPTARG ;;
    *) exit 2 ;;
    esac
done
echo "2026-11-28 [DEBUG] run $run in $folder"
echo "2026-11-28 [INFO] ProgressInfo:10%"
echo "2026-11-28 [INFO] drawing every $interval m"
# The run's folder has the name that WPS Remote gives it, too.
printf 'contours every %s m\n' "$interval" >"/tmp/anabranch-contour/$run/contour.zip"
echo "2026-11-28 [INFO] ProgressInfo:100%"
