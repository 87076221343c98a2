// SPDX-License-Identifier: Apache-2.0
// Messages of upstreams. protozero throws at what is no protobuf: so this file alone is built with exceptions (CMakeLists.txt), says its own
// faults in the same way, and lets none out.
//
// What is written is gone through twice, by the same function: once to count it, once to write it where there is room for exactly that.
#include "wire/upstream.h"

#include "lib/check.h"

#define protozero_assert(condition) CHECK(condition)  // NOLINT(readability-identifier-naming): the library's own name for it
#include <protozero/pbf_reader.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "lib/text.h"
#include "wire/grpc.h"

namespace relay::upstream {
namespace {

using protozero::pbf_reader;
using Wire = protozero::pbf_wire_type;

constexpr size_t kMostLabels = 64;
constexpr uint64_t kLastFeature = 6;

// ---- writing

// A field's number and type. No number is above 15, so it is one byte.
constexpr char key(uint32_t field, Wire type) { return static_cast<char>(field << 3U | static_cast<uint32_t>(type)); }
constexpr size_t number_size(uint64_t value) { return (static_cast<size_t>(std::bit_width(value | 1U)) + 6) / 7; }

class Counter {
 public:
  size_t size() const { return size_; }
  void number(uint32_t /*field*/, uint64_t value) { size_ += 1 + number_size(value); }
  void length(uint32_t field, size_t length) { number(field, length); }
  void text(uint32_t field, std::string_view text) {
    length(field, text.size());
    size_ += text.size();
  }
  template <typename Body>
  void message(uint32_t field, Body body) {
    Counter inner;
    body(inner);
    length(field, inner.size_);
    size_ += inner.size_;
  }

 private:
  size_t size_ = 0;
};

// As above. There is room.
class Writer {
 public:
  explicit Writer(char* at) : at_(at) {}
  const char* at() const { return at_; }
  void raw(const void* bytes, size_t size) {
    if (size > 0) std::memcpy(at_, bytes, size);
    at_ += size;
  }
  void number(uint32_t field, uint64_t value) {
    *at_++ = key(field, Wire::varint);
    at_ += protozero::add_varint_to_buffer(at_, value);
  }
  void length(uint32_t field, size_t length) {
    *at_++ = key(field, Wire::length_delimited);
    at_ += protozero::add_varint_to_buffer(at_, length);
  }
  void text(uint32_t field, std::string_view text) {
    length(field, text.size());
    raw(text.data(), text.size());
  }
  template <typename Body>
  void message(uint32_t field, Body body) {
    Counter inner;
    body(inner);
    length(field, inner.size());
    body(*this);
  }

 private:
  char* at_;
};

// What is empty or 0 is not written: that is what a field is that is not there.
template <typename Sink>
void put_text(Sink& sink, uint32_t field, std::string_view text) {
  if (!text.empty()) sink.text(field, text);
}
template <typename Sink>
void put_number(Sink& sink, uint32_t field, uint64_t value) {
  if (value != 0) sink.number(field, value);
}

template <typename Sink>
void put_labels(Sink& sink, uint32_t field, const Labels& labels) {
  for (const auto& label : labels)
    sink.message(field, [&label](auto& entry) {
      entry.text(1, label.first);
      entry.text(2, label.second);
    });
}

template <typename Sink>
void put_client(Sink& sink, const ClientInfo& client) {
  put_text(sink, 1, client.peer);
  put_text(sink, 2, client.local);
  put_text(sink, 3, client.listener);
  put_text(sink, 4, client.tls_version);
  put_text(sink, 5, client.sni);
  put_text(sink, 6, client.alpn);
  put_text(sink, 7, client.subject);
}

// All but the payload itself.
template <typename Sink>
void put(Sink& sink, const Input& input) {
  put_text(sink, 1, input.time);
  put_text(sink, 2, input.client_uuid);
  put_number(sink, 4, static_cast<uint64_t>(input.event));
  put_number(sink, 5, input.seq);
  if (input.client != nullptr) sink.message(6, [&](auto& client) { put_client(client, *input.client); });
  if (input.close != CloseReason::kNone || !input.close_details.empty())
    sink.message(7, [&](auto& close) {
      put_number(close, 1, static_cast<uint64_t>(input.close));
      put_text(close, 2, input.close_details);
    });
  put_number(sink, 8, input.redelivered ? 1 : 0);
  put_number(sink, 9, input.request_id);
  put_number(sink, 10, static_cast<uint64_t>(input.delivery));
  put_labels(sink, 11, input.labels);
  if (!input.payload.empty()) sink.length(3, input.payload.size());
}

template <typename Sink>
void put(Sink& sink, const Output& output) {
  put_text(sink, 1, output.time);
  // Of a oneof, what is empty or 0 is written: that it is there counts.
  if (output.target == Output::Target::kClient) sink.text(2, output.client_uuid);
  if (output.target == Output::Target::kBroadcast) sink.number(3, static_cast<uint64_t>(output.broadcast));
  if (output.target == Output::Target::kGroup) sink.text(5, output.group);
  put_number(sink, 6, static_cast<uint64_t>(output.command));
  for (const std::string_view uuid : output.client_uuids) sink.text(7, uuid);
  put_number(sink, 8, output.ack_seq);
  put_number(sink, 9, output.request_id);
  put_text(sink, 10, output.reason);
  if (output.has_idle_timeout) sink.number(11, output.idle_timeout_ms);
  put_labels(sink, 12, output.labels);
  for (const std::string_view uuid : output.except_uuids) sink.text(13, uuid);
  if (!output.payload.empty()) sink.length(4, output.payload.size());
}

// The message's prefix and its fields, up to its payload.
template <typename Message>
void append(const Message& message, std::string& to) {
  Counter counter;
  put(counter, message);
  const size_t length = counter.size() + message.payload.size();
  CHECK(length <= UINT32_MAX);
  const size_t begin = to.size();
  to.resize(begin + kGrpcPrefix + counter.size());
  Writer writer(to.data() + begin);
  const auto prefix = grpc_prefix(static_cast<uint32_t>(length));
  writer.raw(prefix.data(), prefix.size());
  put(writer, message);
  CHECK(writer.at() == to.data() + to.size());
}

// ---- reading. A field is read where its reader stands, and what is wrong with it is thrown.

void expect(const pbf_reader& field, Wire type) {
  if (!field.has_wire_type(type)) throw Status(Code::kInvalid, "a field of another type");
}

std::string_view bytes(pbf_reader& field) {
  expect(field, Wire::length_delimited);
  const protozero::data_view view = field.get_view();
  return {view.data(), view.size()};
}

std::string_view text(pbf_reader& field) {
  const std::string_view text = bytes(field);
  if (!is_utf8(text)) throw Status(Code::kInvalid, "a text that is not UTF-8");
  return text;
}

std::span<const std::byte> payload(pbf_reader& field) {
  const std::string_view view = bytes(field);
  return std::as_bytes(std::span(view.data(), view.size()));
}

uint64_t number(pbf_reader& field) {
  expect(field, Wire::varint);
  return field.get_uint64();
}

// Not get_bool(): it looks at a byte that may not be there.
bool flag(pbf_reader& field) { return number(field) != 0; }

// `fault` names the field, for whoever has written the message.
template <typename Enum>
Enum one_of(pbf_reader& field, Enum last, const char* fault) {
  const uint64_t value = number(field);
  if (value > static_cast<uint64_t>(last)) throw Status(Code::kNotFound, fault);
  return static_cast<Enum>(value);
}

void add_uuid(pbf_reader& field, std::vector<std::string_view>& uuids) {
  const std::string_view uuid = text(field);
  if (uuids.size() == kMostUuids) throw Status(Code::kLimit, "more than 4096 clients in a message");
  uuids.push_back(uuid);
}

// An entry of a map is a message of its own. Of two of the same name the last counts.
void add_label(pbf_reader& field, Labels& labels) {
  const std::string_view entry = bytes(field);
  std::string_view name;
  std::string_view value;
  pbf_reader reader(entry.data(), entry.size());
  while (reader.next()) {
    if (reader.tag() == 1) name = text(reader);
    else if (reader.tag() == 2) value = text(reader);
    else reader.skip();
  }
  const auto same = std::find_if(labels.begin(), labels.end(), [name](const auto& label) { return label.first == name; });
  if (same != labels.end()) {
    same->second = value;
    return;
  }
  if (labels.size() == kMostLabels) throw Status(Code::kLimit, "more than 64 labels in a message");
  labels.emplace_back(name, value);
}

void read_close(pbf_reader& field, Input& input) {
  const std::string_view message = bytes(field);
  input.close = CloseReason::kNone;
  input.close_details = {};
  pbf_reader reader(message.data(), message.size());
  while (reader.next()) {
    if (reader.tag() == 1) input.close = one_of(reader, CloseReason::kRehomed, "reason: a number that stands for nothing");
    else if (reader.tag() == 2) input.close_details = text(reader);
    else reader.skip();
  }
}

void add_features(pbf_reader& field, Features& features) {
  const auto add = [&features](uint64_t feature) {
    if (feature > 0 && feature <= kLastFeature) features |= 1U << feature;
  };
  if (field.has_wire_type(Wire::varint)) {
    add(field.get_uint64());
    return;
  }
  expect(field, Wire::length_delimited);  // packed, as most write it
  for (const uint64_t feature : field.get_packed_uint64()) add(feature);
}

void read_target(pbf_reader& field, Output& output) {
  output.client_uuid = output.group = {};
  output.broadcast = Broadcast::kAll;
  switch (field.tag()) {
    case 2:
      output.target = Output::Target::kClient;
      output.client_uuid = text(field);
      return;
    case 3:
      output.target = Output::Target::kBroadcast;
      output.broadcast = one_of(field, Broadcast::kNotActive, "broadcast: a number that stands for nothing");
      return;
    default:
      output.target = Output::Target::kGroup;
      output.group = text(field);
  }
}

void read_field(pbf_reader& field, Input& input) {
  switch (field.tag()) {
    case 1: input.time = text(field); return;
    case 2: input.client_uuid = text(field); return;
    case 3: input.payload = payload(field); return;
    case 4: input.event = one_of(field, Event::kWritable, "event: a number that stands for nothing"); return;
    case 5: input.seq = number(field); return;
    case 7: read_close(field, input); return;
    case 8: input.redelivered = flag(field); return;
    case 9: input.request_id = number(field); return;
    case 10: input.delivery = one_of(field, Delivery::kUnreachable, "delivery: a number that stands for nothing"); return;
    default: field.skip();
  }
}

void read_field(pbf_reader& field, Output& output) {
  switch (field.tag()) {
    case 1: output.time = text(field); return;
    case 2:
    case 3:
    case 5: read_target(field, output); return;
    case 4: output.payload = payload(field); return;
    case 6: output.command = one_of(field, Command::kLeave, "command: a number that stands for nothing"); return;
    case 7: add_uuid(field, output.client_uuids); return;
    case 8: output.ack_seq = number(field); return;
    case 9: output.request_id = number(field); return;
    case 10: output.reason = text(field); return;
    case 11:
      output.has_idle_timeout = true;
      output.idle_timeout_ms = static_cast<uint32_t>(number(field));  // its upper half is cut off, as every library does
      return;
    case 12: add_label(field, output.labels); return;
    case 13: add_uuid(field, output.except_uuids); return;
    default: field.skip();
  }
}

void read_field(pbf_reader& field, Ready& ready) {
  switch (field.tag()) {
    case 1: text(field); return;
    case 2: ready.ready = flag(field); return;
    case 3: add_features(field, ready.features); return;
    case 4: ready.weight = static_cast<uint32_t>(number(field)); return;  // as above
    case 5: ready.max_clients = number(field); return;
    default: field.skip();
  }
}

void read_field(pbf_reader& field, Live& live) {
  switch (field.tag()) {
    case 1: text(field); return;
    case 2: live.live = flag(field); return;
    default: field.skip();
  }
}

// The edge: nothing is thrown beyond.
template <typename Message>
Status read(std::span<const std::byte> bytes, Message& message) {
  try {
    pbf_reader reader(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    while (reader.next()) read_field(reader, message);
    return {};
  } catch (const Status& fault) {
    return fault;
  } catch (const protozero::end_of_buffer_exception&) {
    return {Code::kInvalid, "a message that is cut off"};
  } catch (const protozero::exception&) {
    return {Code::kInvalid, "no protobuf message"};
  } catch (...) {
    return {Code::kLimit, "no memory for a message"};
  }
}

}  // namespace

void Output::clear() {
  client_uuids.clear();
  labels.clear();
  except_uuids.clear();
  Output empty;
  empty.client_uuids.swap(client_uuids);
  empty.labels.swap(labels);
  empty.except_uuids.swap(except_uuids);
  *this = std::move(empty);
}

void encode(const Input& input, std::string& to) { append(input, to); }

void encode(const Output& output, std::string& to) {
  append(output, to);
  to.append(reinterpret_cast<const char*>(output.payload.data()), output.payload.size());
}

Status decode(std::span<const std::byte> message, Input& input) {
  input = Input();
  return read(message, input);
}

Status decode(std::span<const std::byte> message, Output& output) {
  output.clear();
  return read(message, output);
}

Status decode(std::span<const std::byte> message, Ready& ready) {
  ready = Ready();
  return read(message, ready);
}

Status decode(std::span<const std::byte> message, Live& live) {
  live = Live();
  return read(message, live);
}

}  // namespace relay::upstream
