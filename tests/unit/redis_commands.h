// SPDX-License-Identifier: Apache-2.0
// Written by redis_commands.py: what redis-server 7.0.15 says of its commands.
#pragma once

namespace relay::redis {

constexpr unsigned kServerCommandCount = 138;
// Its reply to COMMAND, without commands and fields that no test needs.
constexpr char kServerCommands[] =
    "*138\r\n"
    "*10\r\n$6\r\nappend\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$8\r\nbitcount\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\ninde"
    "x\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nk"
    "eystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$8\r\nbitfield\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$11\r\nbitfield_ro\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\n"
    "index\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7"
    "\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nbitop\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:2\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:3\r\n$9\r\nfind_ke"
    "ys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nblmove\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$8\r\nnoscript\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r"
    "\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r"
    "\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2"
    "\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r"
    "\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nblmpop\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_searc"
    "h\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n"
    "*6\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$5\r\nblpop\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$8\r\nnoscript\r\n$5\r\nwrite\r\n:1\r\n:-2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r"
    "\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r"
    "\n$7\r\nlastkey\r\n:-2\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nbrpop\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$8\r\nnoscript\r\n$5\r\nwrite\r\n:1\r\n:-2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r"
    "\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r"
    "\n$7\r\nlastkey\r\n:-2\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$10\r\nbrpoplpush\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$8\r\nnoscript\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_sear"
    "ch\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n"
    "*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r"
    "\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$"
    "5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nbzmpop\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_searc"
    "h\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n"
    "*6\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$8\r\nbzpopmax\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$8\r\nnoscript\r\n$5\r\nwrite\r\n:1\r\n:-2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search"
    "\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6"
    "\r\n$7\r\nlastkey\r\n:-2\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$8\r\nbzpopmin\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$8\r\nnoscript\r\n$5\r\nwrite\r\n:1\r\n:-2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search"
    "\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6"
    "\r\n$7\r\nlastkey\r\n:-2\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nclient\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*1\r\n*10\r\n$11\r\nclient|list\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0"
    "\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
    "*10\r\n$7\r\ncluster\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*1\r\n*10\r\n$15\r\ncluster|keyslot\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0"
    "\r\n*0\r\n*0\r\n"
    "*10\r\n$6\r\nconfig\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*2\r\n*10\r\n$10\r\nconfig|get\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0"
    "\r\n*0\r\n*0\r\n*0\r\n*0\r\n*10\r\n$10\r\nconfig|set\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$24\r\nrequest_policy:all_nodes\r"
    "\n$29\r\nresponse_policy:all_succeeded\r\n*0\r\n*0\r\n"
    "*10\r\n$4\r\ncopy\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_key"
    "s\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\ndbsize\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$23\r\nresponse_policy:agg_sum"
    "\r\n*0\r\n*0\r\n"
    "*10\r\n$5\r\ndebug\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
    "*10\r\n$3\r\ndel\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*2\r\n$26\r\nrequest_policy:multi_shard\r\n$23\r\nresponse_policy:agg_sum\r\n*"
    "1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$"
    "5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\ndump\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\necho\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
    "*10\r\n$4\r\neval\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\n"
    "type\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkeynu"
    "midx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$7\r\neval_ro\r\n:0\r\n*3\r\n$11\r\nmovablekeys\r\n$8\r\nnoscript\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_s"
    "earch\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec"
    "\r\n*6\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$7\r\nevalsha\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4"
    "\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nk"
    "eynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$10\r\nevalsha_ro\r\n:0\r\n*3\r\n$11\r\nmovablekeys\r\n$8\r\nnoscript\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbeg"
    "in_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\n"
    "spec\r\n*6\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$4\r\nexec\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
    "*10\r\n$6\r\nexists\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*2\r\n$26\r\nrequest_policy:multi_shard\r\n$23\r\nresponse_policy:agg_su"
    "m\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntyp"
    "e\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nexpire\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nfcall\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r"
    "\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkey"
    "numidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$8\r\nfcall_ro\r\n:0\r\n*3\r\n$11\r\nmovablekeys\r\n$8\r\nnoscript\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_"
    "search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspe"
    "c\r\n*6\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$8\r\nflushall\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succe"
    "eded\r\n*0\r\n*0\r\n"
    "*10\r\n$7\r\nflushdb\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succee"
    "ded\r\n*0\r\n*0\r\n"
    "*10\r\n$8\r\nfunction\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*2\r\n*10\r\n$13\r\nfunction|load\r\n:0\r\n*2\r\n$8\r\nnoscript\r\n$5\r\nwrit"
    "e\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succeeded\r\n*0\r\n*0\r\n*10\r\n$14\r\nfunction|stat"
    "s\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$23\r\nresponse_policy:special\r\n*0\r\n*0\r\n"
    "*10\r\n$6\r\ngeoadd\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\ngeodist\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nke"
    "ystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\ngeopos\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nke"
    "ystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$9\r\ngeoradius\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*3\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r"
    "\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlast"
    "key\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$7\r\nkeyword\r\n$4\r\nspec\r\n*4\r\n$7\r\nk"
    "eyword\r\n$5\r\nSTORE\r\n$9\r\nstartfrom\r\n:6\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7"
    "\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$7\r\nkeyword\r\n$4\r\nspec\r\n*4\r\n$7\r\nkeyword\r\n$9\r"
    "\nSTOREDIST\r\n$9\r\nstartfrom\r\n:6\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$12\r\ngeoradius_ro\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r"
    "\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$"
    "7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$17\r\ngeoradiusbymember\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*3\r\n*4\r\n$12\r\nbegin_search\r\n*"
    "4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$"
    "7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$7\r\nkeyword\r\n$4\r\nspec\r\n*4\r"
    "\n$7\r\nkeyword\r\n$5\r\nSTORE\r\n$9\r\nstartfrom\r\n:5\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n"
    ":0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$7\r\nkeyword\r\n$4\r\nspec\r\n*4\r\n$7\r\nkeyword"
    "\r\n$9\r\nSTOREDIST\r\n$9\r\nstartfrom\r\n:5\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r"
    "\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$20\r\ngeoradiusbymember_ro\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype"
    "\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r"
    "\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$9\r\ngeosearch\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nind"
    "ex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\n"
    "keystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$14\r\ngeosearchstore\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\n"
    "index\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7"
    "\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9"
    "\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$3\r\nget\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\ngetex\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$"
    "4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\ngetset\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nhdel\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\nhgetall\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nke"
    "ystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nhmset\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$"
    "4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$10\r\nhrandfield\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\ni"
    "ndex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r"
    "\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nhscan\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nhset\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nincr\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$11\r\nincrbyfloat\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nind"
    "ex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\n"
    "keystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\ninfo\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$23\r\nresponse_policy:special\r\n*0\r\n*0\r\n"
    "*10\r\n$4\r\nkeys\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*1\r\n$25\r\nrequest_policy:all_shards\r\n*0\r\n*0\r\n"
    "*10\r\n$7\r\nlatency\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*1\r\n*10\r\n$13\r\nlatency|reset\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r"
    "\n:0\r\n*0\r\n*2\r\n$24\r\nrequest_policy:all_nodes\r\n$29\r\nresponse_policy:all_succeeded\r\n*0\r\n*0\r\n"
    "*10\r\n$3\r\nlcs\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:1\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\nlinsert\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nlmove\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$"
    "4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_key"
    "s\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nlmpop\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\nty"
    "pe\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkeynumi"
    "dx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$4\r\nlpos\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nlpush\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$"
    "4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nltrim\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$"
    "4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nmemory\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*4\r\n*10\r\n$13\r\nmemory|doctor\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n"
    "$25\r\nrequest_policy:all_shards\r\n$23\r\nresponse_policy:special\r\n*0\r\n*0\r\n*10\r\n$11\r\nmemory|help\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0"
    "\r\n*0\r\n*0\r\n*10\r\n$12\r\nmemory|stats\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$23\r\nresponse_policy:spe"
    "cial\r\n*0\r\n*0\r\n*10\r\n$12\r\nmemory|usage\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r"
    "\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r"
    "\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nmget\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*1\r\n$26\r\nrequest_policy:multi_shard\r\n*1\r\n*4\r\n$12\r\nbegin_search"
    "\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6"
    "\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\nmigrate\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:3\r\n:3\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\n"
    "type\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:3\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastke"
    "y\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$7\r\nkeyword\r\n$4\r\nspec\r\n*4\r\n$7\r\nkey"
    "word\r\n$4\r\nKEYS\r\n$9\r\nstartfrom\r\n:-2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r"
    "\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nmset\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:-1\r\n:2\r\n*0\r\n*2\r\n$26\r\nrequest_policy:multi_shard\r\n$29\r\nresponse_policy:all_succeed"
    "ed\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\nty"
    "pe\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:2\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nmsetnx\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:-1\r\n:2\r\n*0\r\n*2\r\n$26\r\nrequest_policy:multi_shard\r\n$23\r\nresponse_policy:agg_min\r"
    "\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r"
    "\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:2\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nmulti\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
    "*10\r\n$6\r\nobject\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*5\r\n*10\r\n$15\r\nobject|encoding\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:2\r\n:2\r"
    "\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n"
    "*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n*10\r\n$11\r\nobject|f"
    "req\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r"
    "\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$"
    "5\r\nlimit\r\n:0\r\n*0\r\n*10\r\n$11\r\nobject|help\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n*10\r\n$15\r\nobject|idletime\r\n:0\r\n*1"
    "\r\n$8\r\nreadonly\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nin"
    "dex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0"
    "\r\n*0\r\n*10\r\n$15\r\nobject|refcount\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\n"
    "type\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastke"
    "y\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\npersist\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\npfadd\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$"
    "4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\npfcount\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\ninde"
    "x\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\n"
    "keystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\npfdebug\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\npfmerge\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_"
    "keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nping\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:all_succeeded\r\n*0\r\n*0\r"
    "\n"
    "*10\r\n$7\r\npublish\r\n:0\r\n*1\r\n$6\r\npubsub\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
    "*10\r\n$9\r\nrandomkey\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*1\r\n$25\r\nrequest_policy:all_shards\r\n*0\r\n*0\r\n"
    "*10\r\n$6\r\nrename\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_ke"
    "ys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$8\r\nrenamenx\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_"
    "keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\nrestore\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$14\r\nrestore-asking\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\n"
    "index\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7"
    "\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nrole\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
    "*10\r\n$9\r\nrpoplpush\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nke"
    "ystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfin"
    "d_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nsadd\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nscan\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*1\r\n$22\r\nrequest_policy:special\r\n*0\r\n*0\r\n"
    "*10\r\n$6\r\nscript\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*4\r\n*10\r\n$13\r\nscript|exists\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n"
    ":0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$31\r\nresponse_policy:agg_logical_and\r\n*0\r\n*0\r\n*10\r\n$12\r\nscript|flush\r\n:0\r\n*1\r\n"
    "$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$24\r\nrequest_policy:all_nodes\r\n$29\r\nresponse_policy:all_succeeded\r\n*0\r\n*0\r\n*10\r\n$11\r\ns"
    "cript|kill\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$29\r\nresponse_policy:one_succeeded\r\n"
    "*0\r\n*0\r\n*10\r\n$11\r\nscript|load\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$24\r\nrequest_policy:all_nodes\r\n$29\r\nrespons"
    "e_policy:all_succeeded\r\n*0\r\n*0\r\n"
    "*10\r\n$5\r\nsdiff\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nk"
    "eystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$10\r\nsdiffstore\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nind"
    "ex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\n"
    "keystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nf"
    "ind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$3\r\nset\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$8\r\nsetrange\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nsinter\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nk"
    "eystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$10\r\nsintercard\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r"
    "\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9"
    "\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$11\r\nsinterstore\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nin"
    "dex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r"
    "\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r"
    "\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$7\r\nslowlog\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*2\r\n*10\r\n$11\r\nslowlog|get\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*1\r\n$"
    "24\r\nrequest_policy:all_nodes\r\n*0\r\n*0\r\n*10\r\n$11\r\nslowlog|len\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$24\r\nrequest_policy:all_nodes\r"
    "\n$23\r\nresponse_policy:agg_sum\r\n*0\r\n*0\r\n"
    "*10\r\n$5\r\nsmove\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$"
    "4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_key"
    "s\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nsort\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*3\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntyp"
    "e\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r"
    "\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$7\r\nunknown\r\n$4\r\nspec\r\n*0\r\n$9\r\nfind_k"
    "eys\r\n*4\r\n$4\r\ntype\r\n$7\r\nunknown\r\n$4\r\nspec\r\n*0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$7\r\nunknown\r\n$4\r\nspec\r\n*0\r\n"
    "$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$7\r\nunknown\r\n$4\r\nspec\r\n*0\r\n*0\r\n"
    "*10\r\n$7\r\nsort_ro\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4"
    "\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nla"
    "stkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$7\r\nunknown\r\n$4\r\nspec\r\n*0\r\n$9\r"
    "\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$7\r\nunknown\r\n$4\r\nspec\r\n*0\r\n*0\r\n"
    "*10\r\n$8\r\nspublish\r\n:0\r\n*1\r\n$6\r\npubsub\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nke"
    "ystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nsscan\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$10\r\nssubscribe\r\n:0\r\n*2\r\n$8\r\nnoscript\r\n$6\r\npubsub\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r"
    "\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlast"
    "key\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nstrlen\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nke"
    "ystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$9\r\nsubscribe\r\n:0\r\n*2\r\n$8\r\nnoscript\r\n$6\r\npubsub\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
    "*10\r\n$6\r\nsubstr\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nke"
    "ystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nsunion\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nk"
    "eystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$11\r\nsunionstore\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nin"
    "dex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r"
    "\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r"
    "\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\ntime\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n"
    "*10\r\n$5\r\ntouch\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*2\r\n$26\r\nrequest_policy:multi_shard\r\n$23\r\nresponse_policy:agg_sum"
    "\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype"
    "\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\ntype\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nunlink\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*2\r\n$26\r\nrequest_policy:multi_shard\r\n$23\r\nresponse_policy:agg_sum\r"
    "\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r"
    "\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nwait\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:0\r\n:0\r\n:0\r\n*0\r\n*2\r\n$25\r\nrequest_policy:all_shards\r\n$23\r\nresponse_policy:agg_min\r"
    "\n*0\r\n*0\r\n"
    "*10\r\n$5\r\nwatch\r\n:0\r\n*1\r\n$8\r\nnoscript\r\n:1\r\n:-1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nk"
    "eystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nxack\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nxadd\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$10\r\nxautoclaim\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\ninde"
    "x\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nk"
    "eystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nxclaim\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nxdel\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nxgroup\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*6\r\n*10\r\n$13\r\nxgroup|create\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:2\r\n:2\r\n:1"
    "\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r"
    "\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n*10\r\n$21\r\nxgroup|creat"
    "econsumer\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec"
    "\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r"
    "\n$5\r\nlimit\r\n:0\r\n*0\r\n*10\r\n$18\r\nxgroup|delconsumer\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_sea"
    "rch\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r"
    "\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n*10\r\n$14\r\nxgroup|destroy\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:2\r\n:2\r"
    "\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n"
    "*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n*10\r\n$11\r\nxgroup|h"
    "elp\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n*10\r\n$12\r\nxgroup|setid\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1"
    "\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5"
    "\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nxinfo\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*4\r\n*10\r\n$15\r\nxinfo|consumers\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:2\r\n:2\r"
    "\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n"
    "*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n*10\r\n$12\r\nxinfo|gr"
    "oups\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r"
    "\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$"
    "5\r\nlimit\r\n:0\r\n*0\r\n*10\r\n$10\r\nxinfo|help\r\n:0\r\n*0\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*0\r\n*0\r\n*10\r\n$12\r\nxinfo|stream\r\n:0\r\n*1\r\n"
    "$8\r\nreadonly\r\n:2\r\n:2\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex"
    "\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r"
    "\n*0\r\n"
    "*10\r\n$4\r\nxlen\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r"
    "\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeys"
    "tep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$8\r\nxpending\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\ninde"
    "x\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nk"
    "eystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nxrange\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nke"
    "ystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nxread\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$11\r\nmovablekeys\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_sea"
    "rch\r\n*4\r\n$4\r\ntype\r\n$7\r\nkeyword\r\n$4\r\nspec\r\n*4\r\n$7\r\nkeyword\r\n$7\r\nSTREAMS\r\n$9\r\nstartfrom\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4"
    "\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:2\r\n*0\r\n"
    "*10\r\n$10\r\nxreadgroup\r\n:0\r\n*3\r\n$8\r\nblocking\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_"
    "search\r\n*4\r\n$4\r\ntype\r\n$7\r\nkeyword\r\n$4\r\nspec\r\n*4\r\n$7\r\nkeyword\r\n$7\r\nSTREAMS\r\n$9\r\nstartfrom\r\n:4\r\n$9\r\nfind_keys\r\n*4\r"
    "\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:-1\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:2\r\n*0\r\n"
    "*10\r\n$6\r\nxsetid\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n"
    "$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeyste"
    "p\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nxtrim\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$"
    "4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$4\r\nzadd\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4"
    "\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep"
    "\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$5\r\nzdiff\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r"
    "\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkey"
    "numidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$10\r\nzdiffstore\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4"
    "\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nla"
    "stkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\ni"
    "ndex\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeyste"
    "p\r\n:1\r\n*0\r\n"
    "*10\r\n$6\r\nzinter\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r"
    "\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkey"
    "numidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$10\r\nzintercard\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r"
    "\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9"
    "\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$11\r\nzinterstore\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$"
    "4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nl"
    "astkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\n"
    "index\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeyst"
    "ep\r\n:1\r\n*0\r\n"
    "*10\r\n$5\r\nzmpop\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\nty"
    "pe\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkeynumi"
    "dx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$6\r\nzrange\r\n:0\r\n*1\r\n$8\r\nreadonly\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex"
    "\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nke"
    "ystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$11\r\nzrangestore\r\n:0\r\n*1\r\n$5\r\nwrite\r\n:1\r\n:2\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nind"
    "ex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\n"
    "keystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:2\r\n$9\r\nf"
    "ind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n"
    "*10\r\n$6\r\nzunion\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$8\r\nreadonly\r\n:0\r\n:0\r\n:0\r\n*0\r\n*0\r\n*1\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r"
    "\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkey"
    "numidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeystep\r\n:1\r\n*0\r\n"
    "*10\r\n$11\r\nzunionstore\r\n:0\r\n*2\r\n$11\r\nmovablekeys\r\n$5\r\nwrite\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*2\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$"
    "4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\nindex\r\n:1\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n*6\r\n$7\r\nl"
    "astkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*4\r\n$12\r\nbegin_search\r\n*4\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n*2\r\n$5\r\n"
    "index\r\n:2\r\n$9\r\nfind_keys\r\n*4\r\n$4\r\ntype\r\n$6\r\nkeynum\r\n$4\r\nspec\r\n*6\r\n$9\r\nkeynumidx\r\n:0\r\n$8\r\nfirstkey\r\n:1\r\n$7\r\nkeyst"
    "ep\r\n:1\r\n*0\r\n";

// The words of a command, and of these its keys, by COMMAND GETKEYS; nullptr: the server does not take it.
struct ServerForm {
  const char* words;
  const char* keys;
};
constexpr ServerForm kServerForms[] = {
    {"GET k", "k"},
    {"SET k v", "k"},
    {"set k v NX", "k"},
    {"SET k v EX 10 GET", "k"},
    {"GETSET k v", "k"},
    {"APPEND k v", "k"},
    {"GETEX k PERSIST", "k"},
    {"MGET a b c", "a b c"},
    {"MSET a 1 b 2", "a b"},
    {"MSETNX a 1 b 2", "a b"},
    {"MSET a 1 b", "a b"},
    {"DEL a", "a"},
    {"DEL a b c", "a b c"},
    {"UNLINK a b", "a b"},
    {"EXISTS a b", "a b"},
    {"TOUCH a b", "a b"},
    {"RENAME a b", "a b"},
    {"RENAMENX a b", "a b"},
    {"COPY a b", "a b"},
    {"COPY a b DB 1 REPLACE", "a b"},
    {"DUMP k", "k"},
    {"RESTORE k 0 x", "k"},
    {"EXPIRE k 1", "k"},
    {"PERSIST k", "k"},
    {"TYPE k", "k"},
    {"KEYS *", ""},
    {"SCAN 0 MATCH x", ""},
    {"PING x", ""},
    {"ECHO k", ""},
    {"BITOP AND d a b", "d a b"},
    {"BITCOUNT k", "k"},
    {"BITFIELD k GET u8 0", "k"},
    {"BITFIELD_RO k GET u8 0", "k"},
    {"LCS a b LEN", "a b"},
    {"STRLEN k", "k"},
    {"SUBSTR k 0 1", "k"},
    {"INCR k", "k"},
    {"INCRBYFLOAT k 1", "k"},
    {"SETRANGE k 0 v", "k"},
    {"HSET h f v", "h"},
    {"HMSET h f v", "h"},
    {"HDEL h f", "h"},
    {"HGETALL h", "h"},
    {"HSCAN h 0", "h"},
    {"HRANDFIELD h 2", "h"},
    {"LPUSH l v", "l"},
    {"LMOVE a b LEFT RIGHT", "a b"},
    {"RPOPLPUSH a b", "a b"},
    {"LPOS l v", "l"},
    {"LINSERT l BEFORE a b", "l"},
    {"LTRIM l 0 1", "l"},
    {"BLPOP a b 0", "a b"},
    {"BLPOP a 0", "a"},
    {"BLPOP a", nullptr},
    {"BRPOP a b c 1", "a b c"},
    {"BRPOPLPUSH a b 0", "a b"},
    {"BLMOVE a b LEFT RIGHT 0", "a b"},
    {"BZPOPMIN a b 0", "a b"},
    {"BZPOPMAX a 0", "a"},
    {"LMPOP 2 a b LEFT", "a b"},
    {"LMPOP 2 a b LEFT COUNT 3", "a b"},
    {"LMPOP 0 LEFT", nullptr},
    {"LMPOP x a LEFT", nullptr},
    {"LMPOP 3 a LEFT", nullptr},
    {"LMPOP 2 a LEFT", "a LEFT"},
    {"BLMPOP 0 2 a b LEFT", "a b"},
    {"BLMPOP 0 1 a RIGHT COUNT 2", "a"},
    {"ZMPOP 1 z MIN", "z"},
    {"BZMPOP 1 2 a b MAX COUNT 1", "a b"},
    {"SADD s a", "s"},
    {"SMOVE a b m", "a b"},
    {"SINTER a b", "a b"},
    {"SINTERSTORE d a b", "d a b"},
    {"SUNION a", "a"},
    {"SUNIONSTORE d a b c", "d a b c"},
    {"SDIFF a b", "a b"},
    {"SDIFFSTORE d a", "d a"},
    {"SINTERCARD 2 a b", "a b"},
    {"SINTERCARD 2 a b LIMIT 1", "a b"},
    {"SINTERCARD 1 a b", "a"},
    {"SSCAN s 0", "s"},
    {"ZADD z 1 a", "z"},
    {"ZRANGE z 0 1", "z"},
    {"ZRANGESTORE d s 0 -1", "d s"},
    {"ZUNION 2 a b", "a b"},
    {"ZUNION 2 a b WEIGHTS 1 2", "a b"},
    {"ZUNION 01 a", "a"},
    {"ZUNION -1 a", nullptr},
    {"ZUNION +1 a", "a"},
    {"ZINTER 1 a", "a"},
    {"ZDIFF 2 a b WITHSCORES", "a b"},
    {"ZINTERCARD 2 a b LIMIT 5", "a b"},
    {"ZUNIONSTORE d 2 a b", "d a b"},
    {"ZUNIONSTORE d 2 a b WEIGHTS 1 2 AGGREGATE MAX", "d a b"},
    {"ZINTERSTORE d 1 a", "d a"},
    {"ZDIFFSTORE d 2 a b", "d a b"},
    {"ZUNIONSTORE d 0 a", nullptr},
    {"ZUNIONSTORE d x a", nullptr},
    {"ZUNIONSTORE d 5 a", nullptr},
    {"ZUNIONSTORE d", nullptr},
    {"EVAL s 0", ""},
    {"EVAL s 0 a b", ""},
    {"EVAL s 1 a", "a"},
    {"EVAL s 2 a b c", "a b"},
    {"EVAL s 3 a b", ""},
    {"EVAL s -1 a", ""},
    {"EVAL s x a", ""},
    {"EVAL s 9999999999999 a", ""},
    {"EVAL s", nullptr},
    {"EVAL_RO s 1 a", "a"},
    {"EVALSHA x 2 a b y z", "a b"},
    {"EVALSHA_RO x 1 a", "a"},
    {"FCALL f 1 a", "a"},
    {"FCALL f 0", ""},
    {"FCALL_RO f 2 a b c", "a b"},
    {"XADD s * f v", "s"},
    {"XADD s MAXLEN 10 * f v", "s"},
    {"XLEN s", "s"},
    {"XRANGE s - +", "s"},
    {"XDEL s 1", "s"},
    {"XTRIM s MAXLEN 1", "s"},
    {"XACK s g 1", "s"},
    {"XCLAIM s g c 1 1-1", "s"},
    {"XAUTOCLAIM s g c 1 0", "s"},
    {"XPENDING s g", "s"},
    {"XSETID s 1-1", "s"},
    {"XREAD STREAMS s 0", "s"},
    {"XREAD COUNT 1 BLOCK 0 STREAMS a b 0 0", "a b"},
    {"XREAD STREAMS streams 0", "streams"},
    {"XREAD STREAMS a", nullptr},
    {"XREAD STREAMS a b c 1 2", "a b"},
    {"XREAD STREAMS", nullptr},
    {"XREAD COUNT 2", nullptr},
    {"xread streams A B $ $", "A B"},
    {"XREADGROUP GROUP g c STREAMS a >", "a"},
    {"XREADGROUP GROUP streams c STREAMS a >", "a"},
    {"XREADGROUP GROUP g streams STREAMS a b > >", "a b"},
    {"XREADGROUP GROUP g c COUNT 1 NOACK STREAMS a b c > > >", "a b c"},
    {"XREADGROUP GROUP g c", nullptr},
    {"XGROUP CREATE s g $ MKSTREAM", "s"},
    {"XGROUP DESTROY s g", "s"},
    {"XGROUP SETID s g 0", "s"},
    {"XGROUP CREATECONSUMER s g c", "s"},
    {"XGROUP DELCONSUMER s g c", "s"},
    {"XGROUP HELP", ""},
    {"xgroup create s g 0", "s"},
    {"XINFO STREAM s", "s"},
    {"XINFO STREAM s FULL", "s"},
    {"XINFO GROUPS s", "s"},
    {"XINFO CONSUMERS s g", "s"},
    {"XINFO HELP", ""},
    {"OBJECT ENCODING k", "k"},
    {"OBJECT FREQ k", "k"},
    {"OBJECT IDLETIME k", "k"},
    {"OBJECT REFCOUNT k", "k"},
    {"OBJECT HELP", ""},
    {"object encoding k", "k"},
    {"MEMORY USAGE k", "k"},
    {"MEMORY USAGE k SAMPLES 5", "k"},
    {"MEMORY DOCTOR", ""},
    {"MEMORY HELP", ""},
    {"MEMORY STATS", ""},
    {"SORT k", "k"},
    {"SORT k STORE d", "k d"},
    {"SORT k BY w* GET o* STORE d", "k d"},
    {"SORT k BY store GET store", "k"},
    {"SORT k LIMIT 0 1 DESC ALPHA STORE d", "k d"},
    {"SORT k STORE d STORE e", "k e"},
    {"SORT k GET # GET store STORE d", "k d"},
    {"SORT k STORE", "k"},
    {"SORT k STORE store d", "k d"},
    {"SORT k STORE STORE", "k STORE"},
    {"sort k store d", "k d"},
    {"SORT_RO k BY w*", "k"},
    {"SORT_RO k GET store", "k"},
    {"MIGRATE h 1 k 0 10", "k"},
    {"MIGRATE h 1 k 0 10 COPY REPLACE", "k"},
    {"MIGRATE h 1 \"\" 0 10 KEYS a b c", "a b c"},
    {"MIGRATE h 1 \"\" 0 10 COPY REPLACE AUTH p KEYS a", "a"},
    {"MIGRATE h 1 \"\" 0 10 AUTH2 u p KEYS a b", "a b"},
    {"MIGRATE h 1 \"\" 0 10 AUTH keys KEYS a", "a"},
    {"MIGRATE h 1 \"\" 0 10 AUTH2 keys keys KEYS a b", "a b"},
    {"MIGRATE h 1 k 0 10 KEYS a", nullptr},
    {"MIGRATE h 1 k 0 10 AUTH keys", "k"},
    {"MIGRATE h 1 \"\" 0 10 KEYS", ""},
    {"GEOADD g 1 2 m", "g"},
    {"GEODIST g a b", "g"},
    {"GEOPOS g a", "g"},
    {"GEORADIUS g 1 2 3 m", "g"},
    {"GEORADIUS g 1 2 3 m STORE d", "g d"},
    {"GEORADIUS g 1 2 3 m STOREDIST d", "g d"},
    {"GEORADIUS g 1 2 3 m COUNT 1 ASC STORE d", "g d"},
    {"GEORADIUS g 1 2 3 m STORE d STOREDIST e", "g d e"},
    {"GEORADIUS g 1 2 3 m STORE store", "g store"},
    {"GEORADIUS g 1 2 3 m STORE", "g"},
    {"GEORADIUS g 1 2 3 STORE d", "g"},
    {"GEORADIUSBYMEMBER g m 3 km STORE STOREDIST d", "g STOREDIST d"},
    {"GEORADIUS_RO g 1 2 3 m", "g"},
    {"GEORADIUSBYMEMBER g m 3 km", "g"},
    {"GEORADIUSBYMEMBER g m 3 km STORE d", "g d"},
    {"GEORADIUSBYMEMBER g store 3 km STOREDIST d", "g d"},
    {"GEORADIUSBYMEMBER_RO g m 3 km", "g"},
    {"GEOSEARCH g FROMMEMBER m BYRADIUS 1 m", "g"},
    {"GEOSEARCHSTORE d s FROMMEMBER m BYRADIUS 1 m", "d s"},
    {"PFADD h a", "h"},
    {"PFCOUNT a b", "a b"},
    {"PFMERGE d a b", "d a b"},
    {"PFDEBUG ENCODING k", "k"},
    {"PUBLISH c m", ""},
    {"SPUBLISH c m", ""},
    {"WATCH a b", "a b"},
    {"RESTORE-ASKING k 0 x", "k"},
    {"SCRIPT LOAD x", ""},
    {"SCRIPT EXISTS a b", ""},
    {"FUNCTION LOAD x", ""},
    {"CONFIG GET x", ""},
    {"CLUSTER KEYSLOT k", ""},
    {"DEBUG OBJECT k", ""},
    {"FLUSHDB ASYNC", ""},
    {"WAIT 0 0", ""},
    {"CLIENT LIST", ""},
    {"SLOWLOG LEN", ""},
    {"SLOWLOG GET", ""},
    {"CONFIG SET a b", ""},
    {"SCRIPT FLUSH", ""},
    {"SCRIPT KILL", ""},
    {"FUNCTION STATS", ""},
    {"LATENCY RESET", ""},
    {"SUBSCRIBE a", ""},
    {"SSUBSCRIBE a", ""},
};

}  // namespace relay::redis
