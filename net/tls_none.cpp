// SPDX-License-Identifier: Apache-2.0
// A relay that is built without TLS (RELAY_TLS=OFF): a tls:// is a fault, so none of the others is ever called.
#include "net/tls.h"

namespace relay {

// NOLINTBEGIN(readability-convert-member-functions-to-static): with TLS they are not.
const bool TlsContext::kBuilt = false;

TlsContext::~TlsContext() = default;
std::optional<TlsFault> TlsContext::load(const TlsConfig&) { return TlsFault{"cert", "this relay was built without TLS"}; }
std::vector<TlsFault> TlsContext::warnings(const TlsConfig&) const { return {}; }

std::unique_ptr<Tls> Tls::make(TlsContext&, int, BufferPool&, Time) { return nullptr; }
Tls::~Tls() = default;
Status Tls::handshake(std::string&) { return {Code::kInvalid, "no TLS"}; }
Result<size_t> Tls::read(std::span<std::byte>) { return Status{Code::kInvalid, "no TLS"}; }
Result<size_t> Tls::write(std::span<const std::byte>) { return Status{Code::kInvalid, "no TLS"}; }
Status Tls::finish() { return {Code::kInvalid, "no TLS"}; }
Status Tls::flush() { return {}; }
bool Tls::drained() const { return true; }
bool Tls::is_server() const { return false; }
std::string_view Tls::version() const { return {}; }
std::string_view Tls::cipher() const { return {}; }
bool Tls::resumed() const { return false; }
std::string_view Tls::sni() const { return {}; }
std::string_view Tls::alpn() const { return {}; }
std::string Tls::peer_name() const { return {}; }
// NOLINTEND(readability-convert-member-functions-to-static)

}  // namespace relay
