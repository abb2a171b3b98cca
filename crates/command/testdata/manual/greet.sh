#!/bin/sh
children=0
for argument; do
    case $argument in
    --name=*) name=${argument#--name=} ;;
    --surname=*) surname=${argument#--surname=} ;;
    --child=*) children=$((children + 1)) ;;
    --path=*) ;;
    *) exit 2 ;;
    esac
done
echo "welcome = Hello $name $surname, and $children children"
echo "Hello $name" >card.txt
