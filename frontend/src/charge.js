// A charge's page: live like others, and with its curve. One file, so that an old phone asks for one.
import "./app.js";
import "./chart.js";
