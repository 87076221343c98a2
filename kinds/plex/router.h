// SPDX-License-Identifier: Apache-2.0
// Router: what an upstream says to clients that are elsewhere: with another worker process of this plex, or another instance of the service.
//
//   upstream ─► PlexRelay ─ to its own clients
//                  └─► Router ─ by the last bytes of the UUID ─► mail (ops/crewmate) ─► another worker ┐
//                                                           └──► Exchange (Redis) ──► another instance ├─► its Router ─► to its own clients
//               what is for all goes to all of both                                                    ┘
//
// What has come from elsewhere is never passed on. Reports of delivery come back the same way. Nothing is kept for who is not there.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kinds/plex/exchange.h"
#include "kinds/plex/route_keys.h"
#include "kinds/plex/work.h"
#include "lib/uuid.h"
#include "net/tls.h"
#include "relay.h"
#include "wire/parcel.h"
#include "wire/upstream.h"

namespace relay::plex {

class PlexRelay;

class Router final : private ExchangeUser {
 public:
  // Who speaks, beside an upstream's number and 0 for an operator.
  static constexpr uint32_t kElsewhere = uint32_t{1} << 31;
  static bool is_elsewhere(uint32_t speaker) { return (speaker & kElsewhere) != 0; }

  // Borrows the relay for its life.
  Router(PlexRelay& relay, const Env& env);

  // Goes over to `route`, the relay's name included, and its certificates (nullptr: no TLS). Connected, and the same but for these: it stays so.
  void configure(const std::optional<Route>& route, std::unique_ptr<TlsContext> tls);
  void close();

  bool is_on() const { return mate_ != nullptr || routes_; }
  // A new client's name: says that it is here.
  void stamp(Uuid& uuid) const {
    if (is_on()) self_.stamp(uuid);
  }
  // By its name. REQUIRES: it is not here.
  bool is_elsewhere(const Uuid& uuid) const;
  bool is_ours(const Uuid& uuid) const { return Place::of(uuid) == self_; }

  // What `speaker`, an upstream of that name, says to those who are elsewhere, as far as there are any. `message`: the whole of it, empty: it is
  // to be made of `output`.
  void pass_on(uint32_t speaker, std::string_view name, std::span<const std::byte> message, const upstream::Output& output);
  // To one that is_elsewhere().
  void report(uint32_t speaker, uint64_t request, const Uuid& uuid, upstream::Delivery what);
  // From another worker, and what could not be delivered to it.
  // False: that was enough for this turn.
  bool mail(std::span<const std::byte> letter);
  void mail_returned(unsigned to, std::span<const std::byte> letter);

  void status(Json& json) const;

 private:
  struct Speaker {
    uint32_t id = 0;  // here
    Place place{};
    uint32_t number = 0;  // there
  };
  struct Asked {
    uint64_t cookie;
    uint32_t speaker;
    uint64_t request;
    Uuid uuid;
  };
  static constexpr uint32_t kSpeakersMost = 65536;
  static constexpr uint32_t kSpeakersEver = kElsewhere - kSpeakersMost;  // then from 0 again: a multiple of kSpeakersMost
  static constexpr uint32_t kNoReports = UINT32_MAX;                    // a speaker elsewhere who gets none; never an id

  void on_exchange_up() override;
  void on_exchange_down(bool was_up, const std::string& why) override;
  bool on_exchange_message(bool for_all, std::span<const std::byte> bytes) override;
  void on_exchange_too_long() override;
  void on_exchange_published(uint64_t cookie, Outcome outcome) override;

  uint32_t speaker_of(const Parcel& parcel);
  void arrived(std::span<const std::byte> bytes, bool for_all);
  bool is_tired() const;
  void send_to_all(std::span<const std::byte> head, std::span<const std::byte> message);
  void send(const Place& to, std::span<const std::byte> head, std::span<const std::byte> message, const Asked& asked);
  void published(const Asked& asked);
  void lost(const Asked& asked, upstream::Delivery why);

  PlexRelay& relay_;
  const Crewmate* mate_;
  Place self_;
  Exchange exchange_;
  std::unique_ptr<TlsContext> tls_;
  std::optional<Route> route_;       // in use
  bool routes_ = false;              // there is one
  std::deque<Asked> asked_;          // given to the exchange, in order
  uint64_t cookies_ = 0;
  // The last kSpeakersMost elsewhere that have asked for a report, by id % kSpeakersMost: each upstream that connects anew is another.
  std::vector<Speaker> speakers_;
  std::map<std::pair<Place, uint32_t>, uint32_t> numbers_;  // and their ids
  uint32_t next_speaker_ = 0;
  upstream::Output output_;          // what has arrived; its memory is kept
  Work work_;
};

}  // namespace relay::plex
