# What a recipient can be, and what it cannot.
require ["vnd.perot.encrypt", "variables"];
encrypt "me@domain.com";
encrypt "ME+lists@Domain.COM";
encrypt "{me}";
encrypt "";
encrypt "me";
encrypt "Me <me@domain.com>";
encrypt ["me@domain.com", "a@t.org, b@t.org",
    "not one, either"];
encrypt "DEADBEEF";
encrypt "0xDEADBEEFDEADBEEF";
encrypt "nobody@t.org";
encrypt "0123 4567 89ab cdef 0123  4567 89ab cdef 0123 4567";
encrypt "${known_when_it_runs}";
encrypt :also "{me}";
encrypt :also ["me@domain.com", "not one",
    "${known_when_it_runs}", "nobody@t.org"] "me@domain.com";
