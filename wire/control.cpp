// SPDX-License-Identifier: Apache-2.0
// Messages of the control service. As upstream.cpp it is built with exceptions, which protozero throws, and lets none out.
#include "wire/control.h"

#include "lib/check.h"

#define protozero_assert(condition) CHECK(condition)  // NOLINT(readability-identifier-naming): the library's own name for it
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "lib/text.h"

namespace relay::control {
namespace {

using protozero::pbf_reader;
using protozero::pbf_writer;
using Wire = protozero::pbf_wire_type;

void expect(const pbf_reader& field, Wire type, const char* why) {
  if (!field.has_wire_type(type)) throw Status(Code::kInvalid, why);
}

void read(std::span<const std::byte> message, Request& request) {
  pbf_reader field(reinterpret_cast<const char*>(message.data()), message.size());
  while (field.next()) {
    switch (field.tag()) {
      case 16:
        expect(field, Wire::varint, "abort: a field of another type");
        request.abort = field.get_uint64() != 0;
        break;
      case 17:
        expect(field, Wire::varint, "after: a field of another type");
        request.after = field.get_uint64();
        break;
      case 18:
        expect(field, Wire::varint, "most: a field of another type");
        request.most = field.get_uint64();
        break;
      case 19: {
        expect(field, Wire::length_delimited, "url: a field of another type");
        const protozero::data_view view = field.get_view();
        request.url = {view.data(), view.size()};
        if (!is_utf8(request.url)) throw Status(Code::kInvalid, "url: a text that is not UTF-8");
        break;
      }
      default: field.skip();
    }
  }
}

// What is empty or 0 is not written: that is what a field is that is not there.
void put(pbf_writer& to, uint32_t field, std::string_view text) {
  if (text.empty()) return;
  if (!is_utf8(text)) return to.add_string(field, printable(text));  // no reader takes a message with one: a path may be any bytes
  to.add_bytes(field, text.data(), text.size());
}
void put(pbf_writer& to, uint32_t field, uint64_t value) {
  if (value != 0) to.add_uint64(field, value);
}

void put(pbf_writer& to, const ClientState& client) {
  put(to, 1, std::string_view(client.client));
  put(to, 2, std::string_view(client.peer));
  put(to, 3, client.upstream);
  put(to, 4, client.state);
  put(to, 5, client.messages);
  put(to, 6, client.queued);
  put(to, 7, client.kept);
}

}  // namespace

Status decode(std::span<const std::byte> message, upstream::Output& output, Request& request) {
  request = Request();
  if (const Status status = upstream::decode(message, output); !status.ok()) return status;
  try {
    read(message, request);
    return {};
  } catch (const Status& status) {
    return status;
  } catch (const protozero::exception&) {
    return {Code::kInvalid, "no message of protobuf"};
  }
}

void encode(const Sent& sent, std::string& to) {
  pbf_writer out(to);
  put(out, 1, sent.sent);
  put(out, 2, sent.unknown);
  put(out, 3, sent.dropped);
  put(out, 4, sent.under_way ? 1 : 0);
  put(out, 5, sent.routed);
  put(out, 6, sent.route_lost);
}

void encode(const ClientState& client, std::string& to) {
  pbf_writer out(to);
  put(out, client);
}

void add_to_list(const ClientState& client, std::string& to) {
  pbf_writer out(to);
  pbf_writer inner(out, 1);
  put(inner, client);
}

void add_next(uint64_t next, std::string& to) { pbf_writer(to).add_uint64(2, next); }

void add_to_list(const UpstreamState& upstream, std::string& to) {
  pbf_writer out(to);
  pbf_writer inner(out, 1);
  put(inner, 1, upstream.upstream);
  put(inner, 2, upstream.state);
  put(inner, 3, upstream.clients);
  put(inner, 4, std::string_view(upstream.features));
  put(inner, 5, upstream.weight);
  put(inner, 6, upstream.last_error);
}

void encode(const WatchEvent& event, std::string& to) {
  pbf_writer out(to);
  put(out, 1, event.time);
  put(out, 2, event.client);
  put(out, 4, uint64_t{static_cast<uint8_t>(event.kind)});
  put(out, 5, event.seq);
  if (event.info != nullptr) {
    pbf_writer info(out, 6);
    put(info, 1, event.info->peer);
    put(info, 2, event.info->local);
    put(info, 3, event.info->listener);
    put(info, 4, event.info->tls_version);
    put(info, 5, event.info->sni);
    put(info, 6, event.info->alpn);
    put(info, 7, event.info->subject);
  }
  if (event.close != upstream::CloseReason::kNone) {
    pbf_writer close(out, 7);
    put(close, 1, uint64_t{static_cast<uint8_t>(event.close)});
    put(close, 2, event.details);
  }
  put(out, 16, event.upstream);
  put(out, 17, event.missed);
}

}  // namespace relay::control
