<?php
// SPDX-License-Identifier: Apache-2.0
// What both scripts share: where to connect, random text, the time at the end.

const LETTERS = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ';

function random_text(int $length): string
{
    $text = '';
    for ($i = 0; $i < $length; $i++) {
        $text .= LETTERS[mt_rand(0, 61)];
    }
    return $text;
}

// WHERE is HOST:PORT or unix:PATH.
function connect(Redis $redis, string $where): void
{
    if (str_starts_with($where, 'unix:')) {
        $redis->connect(substr($where, 5));
        return;
    }
    $colon = strrpos($where, ':');
    $redis->connect(substr($where, 0, $colon), (int) substr($where, $colon + 1));
}

function must(bool $fact, string $what): void
{
    if (!$fact) {
        fwrite(STDERR, "$what\n");
        exit(1);
    }
}

if ($argc !== 3 || (int) $argv[2] < 1) {
    fwrite(STDERR, "usage: php {$argv[0]} WHERE TURNS\n  WHERE  HOST:PORT or unix:PATH\n");
    exit(2);
}
[, $where, $turns] = $argv;
$value = random_text(40000);
$start = hrtime(true);

// Called behind the last turn.
function report(): void
{
    global $start, $turns;
    $seconds = (hrtime(true) - $start) / 1e9;
    printf("%.3f s, %d turns, %.1f us a turn\n", $seconds, $turns, $seconds * 1e6 / $turns);
}
