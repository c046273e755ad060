"""A cache with a bound."""

from gateway.concurrency.bounded_cache import BoundedCache


def kept(cache: BoundedCache[str, int], keys: str) -> str:
    return "".join(key for key in keys if cache.get(key) is not None)


def test_the_oldest_entries_make_room() -> None:
    cache: BoundedCache[str, int] = BoundedCache(3)
    for number, key in enumerate("abcde"):
        cache.put(key, number)
    assert kept(cache, "abcde") == "cde"
    assert len(cache) == 3


def test_sizes_count_together() -> None:
    cache: BoundedCache[str, int] = BoundedCache(10, 100)
    for key, size in (("a", 60), ("b", 40), ("c", 30)):
        cache.put(key, 0, size)
    assert kept(cache, "abc") == "bc"
    cache.put("d", 0, 30)
    assert kept(cache, "abcd") == "bcd"


def test_the_latest_is_kept_whatever_its_size() -> None:
    cache: BoundedCache[str, int] = BoundedCache(10, 100)
    cache.put("a", 0, 10)
    cache.put("b", 0, 1_000)
    assert kept(cache, "ab") == "b"
    cache.put("c", 0, 10)
    assert kept(cache, "abc") == "c"


def test_an_entry_that_is_replaced_counts_once() -> None:
    cache: BoundedCache[str, int] = BoundedCache(10, 100)
    for _ in range(5):
        cache.put("a", 1, 60)
        cache.put("b", 2, 40)
    assert kept(cache, "ab") == "ab"


def test_an_entry_that_is_touched_is_the_latest() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.touch("a")
    cache.touch("unknown")
    cache.put("c", 3)
    assert kept(cache, "abc") == "ac"


def test_entries_can_be_iterated_over_the_oldest_first() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    for number, key in enumerate("abc"):
        cache.put(key, number)
    assert list(cache.values()) == [1, 2]
    assert [key in cache for key in "abc"] == [False, True, True]


def test_entries_can_be_forgotten() -> None:
    cache: BoundedCache[str, int] = BoundedCache(10, 100)
    cache.put("a", 1, 100)
    cache.remove("a")
    cache.remove("a")
    cache.put("b", 2, 100)
    assert kept(cache, "ab") == "b"
    cache.clear()
    assert (len(cache), kept(cache, "ab")) == (0, "")
