// SPDX-License-Identifier: Apache-2.0
// The memory of OpenSSL's tables. In a program that lies at another address each time every pointer in them is written at the start:
// 376 KiB, which a relay that does not use TLS has no need of.
#pragma once

namespace relay::tls_data {

// Gives the tables back to the kernel, unless need() was called before.
void forget();

// To be called before anything of OpenSSL is used: the tables are there again. False: there is no memory for them.
bool need();

}  // namespace relay::tls_data
