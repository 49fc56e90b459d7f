#include "calls/binary.hpp"
#include "cluster/arbiter.hpp"

#include <utility>

namespace squall::cluster {

namespace {

constexpr const char* leader_key = "cluster/leader";

class store_arbiter final : public arbiter {
public:
  explicit store_arbiter(actors::store_client& store) : store_(store) {}

  void read(std::function<void(result<versioned>)> done) override {
    store_.read(leader_key, [done = std::move(done)](result<actors::store_client::stored_value> found) {
      if (!found)
        return done(found.error().code == errc::not_found ? result<versioned>{versioned{}} : found.error());
      auto record = calls::from_binary<lease_record>(found->bytes.span(), leader_key);
      done(record ? result<versioned>{versioned{found->version, std::move(record).value()}} : record.error());
    });
  }

  void write(std::uint64_t expected_version, const lease_record& record,
             std::function<void(result<std::uint64_t>)> done) override {
    store_.put_if(leader_key, expected_version, shared_bytes::take(calls::to_binary(record)),
                  [done = std::move(done)](result<wire::store_entry> written) {
                    done(written ? result<std::uint64_t>{written->version} : written.error());
                  });
  }

private:
  actors::store_client& store_;
};

} // namespace

std::unique_ptr<arbiter> make_store_arbiter(actors::store_client& store) {
  return std::make_unique<store_arbiter>(store);
}

} // namespace squall::cluster
