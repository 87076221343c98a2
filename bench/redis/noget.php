<?php
// SPDX-License-Identifier: Apache-2.0
// A page that stores what it has computed: one connection; each turn asks whether the server is there, sets a value of 40 kB, writes and
// deletes a field of a hash, deletes the key. (del() has the value as a second key, as in the program that this is after.)
//
//   php noget.php 127.0.0.1:6379 1000
require __DIR__ . '/common.php';

$redis = new Redis();
connect($redis, $where);
for ($i = 0; $i < $turns; $i++) {
    $key = random_text(32);
    must($redis->ping() !== false, 'PING');
    must($redis->set($key, $value, 600) !== false, 'SET');
    $redis->hSet('ROW', $key, $value);
    $redis->hDel('ROW', $key);
    $redis->del($key, $value);
}
report();
