// What pages do beyond reading. Each page is whole without this file.
"use strict";
