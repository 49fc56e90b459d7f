#include "client/spec_file.hpp"
#include "input.hpp"

/// Any text as a spec file: it is refused with a place in the file, or gives specs that are valid.
namespace squall {
namespace {

void fuzz(fuzzing::input& in) {
  const auto documents = client::parse_specs(in.rest(), "fuzz.yaml", "/nonexistent");
  if (!documents.ok()) {
    if (documents.error().message.empty())
      fuzzing::broken("a file was refused without a reason");
    return;
  }
  for (const auto& document : *documents) {
    const auto valid = document.is_function() ? functions::validate(std::get<functions::function_spec>(document.spec))
                                              : functions::validate(std::get<functions::dag_spec>(document.spec));
    if (!valid.ok())
      fuzzing::broken("an invalid spec was accepted: " + valid.error().message);
  }
}

} // namespace
} // namespace squall

SQUALL_FUZZ_TARGET(squall::fuzz)
