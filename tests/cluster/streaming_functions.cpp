// What streaming_test.cpp calls: counts to `n`, with `size` numbers in each output; all but the last are partial.
#include "functions/native.hpp"

#include <algorithm>
#include <cstdint>

SQUALL_NATIVE_FUNCTION(({{"n", SQUALL_INT64, {1}}, {"size", SQUALL_INT64, {1}}}), ({{"y", SQUALL_INT64, {-1}}}),
                       [](squall::native::item& item) {
                         const auto n = item.input<std::int64_t>(0)[0];
                         const auto size = item.input<std::int64_t>(1)[0];
                         for (std::int64_t i = 0; i < n; ++i) {
                           std::ranges::fill(item.output<std::int64_t>(0, {size}), i);
                           if (i + 1 < n)
                             item.emit();
                         }
                       })
