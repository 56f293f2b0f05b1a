from foreshock.connect.lookup import Lookup


def test_a_name_is_asked_once_and_that_there_is_none_is_believed_for_minutes_only():
    at, asked = [0.0], []
    names = {"web": 7}
    lookup = Lookup(found_s=1000, absent_s=10, now=lambda: at[0])

    def value(name):
        return lookup.of(name, lambda: asked.append(name) or names.get(name))

    first = [value(name) for name in ("web", "web", "db", "db")]
    names["db"] = 8
    at[0] = 10

    assert first == [7, 7, None, None]
    assert (value("web"), value("db")) == (7, 8)
    assert asked == ["web", "db", "db"]


def test_what_is_forgotten_is_asked_again():
    lookup = Lookup()
    lookup.of("web", lambda: 7)
    lookup.forget()

    assert lookup.of("web", lambda: 8) == 8
