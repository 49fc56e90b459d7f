// Counts the words of texts, and how often each function ran so far: in the store, where it outlives the process.
#include "functions/native.hpp"

#include <sstream>

SQUALL_NATIVE_FUNCTION(({{"text", SQUALL_BYTES, {-1}}}), ({{"words", SQUALL_INT64, {-1}}, {"runs", SQUALL_INT64, {1}}}),
                       [](squall::native::item& item) {
                         const auto texts = squall::native::texts(item.input(0));
                         const auto words = item.output<std::int64_t>(0, {std::ssize(texts)});
                         for (std::size_t i = 0; i < texts.size(); ++i) {
                           words[i] = 0;
                           std::istringstream in{std::string{texts[i]}};
                           for (std::string word; in >> word;)
                             ++words[i];
                         }
                         const auto before = item.get("examples/words-runs");
                         const auto runs = (before.empty() ? 0 : std::stoll(before)) + 1;
                         item.put("examples/words-runs", std::to_string(runs));
                         item.output<std::int64_t>(1, {1})[0] = runs;
                       })
