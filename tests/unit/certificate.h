// SPDX-License-Identifier: Apache-2.0
// Certificates for tests. Built with TLS only.
#pragma once

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <string>

#include "lib/check.h"

namespace relay::test {

// A certificate of its own making for `name`, and its key, in one file.
inline std::string make_certificate(const std::string& path, const std::string& name) {
  EVP_PKEY* const key = EVP_EC_gen("P-256");
  X509* const cert = X509_new();
  X509_set_version(cert, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
  X509_set_pubkey(cert, key);
  X509_NAME* const subject = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(cert, subject);
  X509_EXTENSION* const alternative = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, ("DNS:" + name).c_str());
  X509_add_ext(cert, alternative, -1);
  X509_sign(cert, key, EVP_sha256());
  FILE* const file = std::fopen(path.c_str(), "w");
  CHECK(file != nullptr);
  CHECK(PEM_write_X509(file, cert) == 1 && PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  std::fclose(file);
  X509_EXTENSION_free(alternative);
  X509_free(cert);
  EVP_PKEY_free(key);
  return path;
}

}  // namespace relay::test
