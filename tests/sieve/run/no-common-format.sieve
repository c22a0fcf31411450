# A certificate that reads only the new format, beside one that reads only the old one.
require "vnd.perot.encrypt";
encrypt ["me@domain.com", "new@t.org"];
