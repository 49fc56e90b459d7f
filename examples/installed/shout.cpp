// A function in native code: texts in capitals.
#include <squall/functions/native.hpp>

#include <algorithm>
#include <cctype>

SQUALL_NATIVE_FUNCTION(({{"text", SQUALL_BYTES, {-1}}}), ({{"loud", SQUALL_BYTES, {-1}}}),
                       [](squall::native::item& item) {
                         std::vector<std::string> loud;
                         for (const std::string_view text : squall::native::texts(item.input(0))) {
                           std::string& out = loud.emplace_back(text);
                           std::ranges::transform(out, out.begin(), [](unsigned char c) { return std::toupper(c); });
                         }
                         item.output_texts(0, {loud.begin(), loud.end()});
                       })
