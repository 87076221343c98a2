<?php
// SPDX-License-Identifier: Apache-2.0
// The same with a new connection in each turn, two databases, and a value that is read back and compared.
//
//   php get.php unix:/run/relay/redis.sock 1000
require __DIR__ . '/common.php';

$redis = new Redis();
for ($i = 0; $i < $turns; $i++) {
    connect($redis, $where);
    $key = random_text(32);
    must($redis->ping() !== false, 'PING');
    must($redis->select(0), 'SELECT 0');
    must($redis->set($key, $value, 600) !== false, 'SET');
    must($redis->select(2), 'SELECT 2');
    $redis->hSet('ROW', $key, $value);
    $redis->hDel('ROW', $key);
    must($redis->select(0), 'SELECT 0');
    must($redis->get($key) === $value, 'GET: not what was SET');
    $redis->del($key, $value);
}
report();
